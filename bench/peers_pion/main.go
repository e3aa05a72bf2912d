// A forwarder on Pion in one page: WHIP in, WHEP out, one audio track for everybody.
// It is what the benchmark compares with; it is no part of the server.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"

	"github.com/pion/webrtc"
)

func main() {
	settings := webrtc.SettingEngine{}
	settings.SetLite(true)
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	settings.SetIPFilter(func(ip net.IP) bool { return ip.Equal(net.IPv4(127, 0, 0, 1)) })
	if err := settings.SetAnsweringDTLSRole(webrtc.DTLSRoleServer); err != nil {
		panic(err)
	}
	media := &webrtc.MediaEngine{}
	codec := webrtc.RTPCodecParameters{
		RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2},
		PayloadType:        111,
	}
	if err := media.RegisterCodec(codec, webrtc.RTPCodecTypeAudio); err != nil {
		panic(err)
	}
	api := webrtc.NewAPI(webrtc.WithSettingEngine(settings), webrtc.WithMediaEngine(media))
	track, err := webrtc.NewTrackLocalStaticRTP(codec.RTPCodecCapability, "audio", "room")
	if err != nil {
		panic(err)
	}

	answer := func(w http.ResponseWriter, r *http.Request, prepare func(*webrtc.PeerConnection) error) {
		offer, _ := io.ReadAll(r.Body)
		peer, err := api.NewPeerConnection(webrtc.Configuration{})
		if err == nil {
			err = prepare(peer)
		}
		if err == nil {
			err = peer.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: string(offer)})
		}
		var reply webrtc.SessionDescription
		if err == nil {
			reply, err = peer.CreateAnswer(nil)
		}
		if err == nil {
			gathered := webrtc.GatheringCompletePromise(peer)
			err = peer.SetLocalDescription(reply)
			<-gathered
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/sdp")
		w.WriteHeader(http.StatusCreated)
		fmt.Fprint(w, peer.LocalDescription().SDP)
	}

	http.HandleFunc("/whip", func(w http.ResponseWriter, r *http.Request) {
		answer(w, r, func(peer *webrtc.PeerConnection) error {
			peer.OnTrack(func(remote *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
				for {
					packet, _, err := remote.ReadRTP()
					if err != nil {
						return
					}
					packet.Extension, packet.Extensions = false, nil
					if track.WriteRTP(packet) != nil {
						return
					}
				}
			})
			return nil
		})
	})
	http.HandleFunc("/whep", func(w http.ResponseWriter, r *http.Request) {
		answer(w, r, func(peer *webrtc.PeerConnection) error {
			sender, err := peer.AddTrack(track)
			if err != nil {
				return err
			}
			go func() { // receiver reports must be read
				buffer := make([]byte, 1500)
				for {
					if _, _, err := sender.Read(buffer); err != nil {
						return
					}
				}
			}()
			return nil
		})
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Fprintf(os.Stdout, "http://%s\n", listener.Addr())
	panic(http.Serve(listener, nil))
}
